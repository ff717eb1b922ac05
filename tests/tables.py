"""Every table that has a model."""

from models import TABLES
from models_access import ACCESS_TABLES
from models_analytics import ANALYTICS_TABLES
from models_chores import CHORE_TABLES
from models_nodes import NODE_TABLES
from models_search import SEARCH_TABLES
from models_studio import STUDIO_TABLES

MODELS = (
    TABLES + ACCESS_TABLES + SEARCH_TABLES + ANALYTICS_TABLES + STUDIO_TABLES + CHORE_TABLES + NODE_TABLES
)
