"""What a WSGI server such as gunicorn imports."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fl_server.settings")
application = get_wsgi_application()
