# One container that runs everything: page, signaling, media worker, inference.
#   docker build -t understudy . && docker run --rm --network host understudy
# Media travels by UDP to ports chosen for each call, so the container shares the host's network.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/understudy
# The dependencies are a layer of their own: a change of the code does not install them again.
# pip reads its usual settings from a secret file: docker build --secret id=pip,src=$HOME/.config/pip/pip.conf .
# Give an index of CPU builds of torch there, unless the host has a GPU: the image is then 4 GB smaller.
COPY pyproject.toml ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/understudy/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > requirements.txt \
    && /opt/understudy/bin/pip install --no-cache-dir -r requirements.txt
COPY README.md ./
COPY client client
COPY models models
COPY server server
COPY signaling signaling
RUN /opt/understudy/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/understudy --create-home understudy
COPY --from=build /opt/understudy /opt/understudy
ENV PATH=/opt/understudy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    UNDERSTUDY_HOST=127.0.0.1 \
    UNDERSTUDY_DATA_DIR=/var/lib/understudy
USER understudy
WORKDIR /var/lib/understudy
VOLUME /var/lib/understudy
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/readyz' % os.environ.get('UNDERSTUDY_PORT', '8080'), timeout=2)"]
CMD ["understudy", "serve"]
