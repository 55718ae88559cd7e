import sys

from benchmarks.rival.race import main

sys.exit(main())
