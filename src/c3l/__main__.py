"""``python -m c3l``."""

import sys

from c3l.cli import main

sys.exit(main())
