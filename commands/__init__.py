"""The command line: flask --app app <command>. One file for each subject."""

from commands.tokens import token
from commands.webhooks import webhook

GROUPS = (token, webhook)
