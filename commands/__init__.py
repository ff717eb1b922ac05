"""The command line: flask --app app <command>. One file for each subject."""

from commands.tokens import token
from commands.webhooks import webhook
from upkeep.commands import COMMANDS

GROUPS = (token, webhook, *COMMANDS)
