"""The command line: flask --app app <command>. One file for each subject."""

from commands.channels import channel
from commands.doctor import doctor_command
from commands.moving import move_command
from commands.nodes import node
from commands.sessions import event, session
from commands.tokens import token
from commands.upkeep import backup_command, restore_command, vacuum_command
from commands.users import user
from commands.webhooks import webhook

GROUPS = (
    *(channel, session, event, user, token, webhook, node),
    *(doctor_command, backup_command, restore_command, vacuum_command, move_command),
)
