"""Which processes load torch: importing it takes seconds and hundreds of megabytes.

OpenTelemetry is loaded by those alone that have somebody to tell.
"""

import os
import subprocess
import sys

import pytest

LOADS = {
    "web": """
        import fl_server.wsgi
        from django.urls import get_resolver

        def walk(patterns):
            for pattern in patterns:
                walk(getattr(pattern, "url_patterns", ()))

        walk(get_resolver().url_patterns)
    """,
    "notify, serving and beat": """
        from fl_server.celery import app
        app.loader.init_worker()
        app.finalize()
        assert "fl_server_ai.tasks.sweep" in app.tasks
    """,
}


@pytest.mark.parametrize("name", LOADS)
def test_loads_without_torch_and_opentelemetry(name, tmp_path):
    lines = LOADS[name].replace("\n        ", "\n")
    code = f"{lines}\nimport sys; sys.exit(len({{'torch', 'opentelemetry'}} & {{*sys.modules}}))"
    environment = os.environ | {"FL_DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
