"""``python -m trajopt`` is the command ``trajopt``."""

import sys

from trajopt.cli import main

sys.exit(main())
