"""Container health check: exit status 0 when the address given answers 200.

Usage: python healthcheck.py [URL]
"""

import os
import sys
import urllib.request

default = f"http://127.0.0.1:{os.environ.get('UNDERSTUDY_PORT', '8080')}/readyz"
# An error status or no answer raises, which is exit status 1.
urllib.request.urlopen(sys.argv[1] if len(sys.argv) > 1 else default, timeout=2).close()
