import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
if settings.IS_TRACED:
    from config import tracing

    tracing.start_pages()
application = get_wsgi_application()
