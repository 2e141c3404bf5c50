# Two images: `proxy` is nginx with the static files, `server` (the last) is all the rest.

FROM python:3.11.13-slim-bookworm AS build
# Where pip finds torch besides its default index, whose torch for Linux brings CUDA along:
# an index of builds for the CPU makes the image some gigabytes smaller.
ARG TORCH_INDEX
# Of pyproject.toml: otel, s3, vision.
ARG EXTRAS=s3
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# The dependencies alone, with an empty package: a change of the code repeats none of this.
COPY pyproject.toml constraints.txt README.md ./
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[$EXTRAS]"

FROM build AS static
COPY . /app
RUN cd /app && FL_DATA_DIR=/tmp/data FL_STATIC_DIR=/static python manage.py collectstatic --noinput

FROM nginxinc/nginx-unprivileged:1.28.0-alpine AS proxy
COPY --from=static /static /srv/static
COPY deploy/nginx/server.conf.template /etc/nginx/templates/default.conf.template

FROM python:3.11.13-slim-bookworm AS server
RUN useradd --uid 10001 --no-create-home fl && install -d -o fl -g fl /data /data/models
COPY --from=build /opt/venv /opt/venv
COPY . /app
WORKDIR /app
USER fl
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FL_DATA_DIR=/data
EXPOSE 8000
ENTRYPOINT ["python", "-m", "fl_server.processes"]
CMD ["web", "--bind", "0.0.0.0:8000"]
