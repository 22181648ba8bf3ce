# The types of the names that __init__.py looks up when they are first used.
from watchword.attacks.base import ATTACKS as ATTACKS
from watchword.attacks.base import Attack as Attack
from watchword.attacks.base import AttackContext as AttackContext
from watchword.chat.template import ChatTemplate as ChatTemplate
from watchword.chat.types import Conversation as Conversation
from watchword.chat.types import Message as Message
from watchword.data.limits import Limits as Limits
from watchword.data.reading import Reading as Reading
from watchword.data.rows import read_conversations as read_conversations
from watchword.data.rows import write_conversations as write_conversations
from watchword.defenses.base import (
    DEFENSES as DEFENSES,
)
from watchword.defenses.base import (
    Defense as Defense,
)
from watchword.defenses.base import (
    DefenseContext as DefenseContext,
)
from watchword.defenses.base import (
    Guarded as Guarded,
)
from watchword.defenses.base import (
    guarded as guarded,
)
from watchword.errors import WatchwordError as WatchwordError
from watchword.finetune.run import Job as Job
from watchword.finetune.run import train_defended as train_defended
from watchword.guarding.memory import GuardedData as GuardedData
from watchword.guarding.memory import guard as guard
from watchword.judges.base import JUDGES as JUDGES
from watchword.judges.base import Judge as Judge
from watchword.judges.base import Unscored as Unscored
from watchword.judges.base import Verdict as Verdict
from watchword.models.base import ChatModel as ChatModel
from watchword.models.base import GenerationOptions as GenerationOptions
from watchword.models.load import LoadedModel as LoadedModel
from watchword.models.load import load as load
from watchword.progress import no_steps as no_steps
from watchword.release.artifact import ReleaseManifest as ReleaseManifest
from watchword.release.opening import Served as Served
from watchword.release.opening import open_release as open_release
from watchword.secret.generate import generate_secret as generate_secret
from watchword.secret.keys import provider_key as provider_key
from watchword.secret.prompt import SecretPrompt as SecretPrompt
from watchword.secret.vault import read_secret_file as read_secret_file
from watchword.secret.vault import write_secret_file as write_secret_file
from watchword.training.config import TrainingConfig as TrainingConfig
