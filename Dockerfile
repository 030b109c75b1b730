# Images of Understudy: target cpu (the default) and target cuda.
#   docker build -t understudy . && docker run --rm --network host understudy
# runs everything for a trial on this machine: page, signaling, media worker, inference. The parts by themselves,
# with all that surrounds them: docker-compose.yml.
# Media travels by UDP to ports chosen for each call, so the container shares the host's network.

FROM python:3.11-slim-bookworm AS source
WORKDIR /src
RUN python -m venv /opt/understudy
# The dependencies are a layer of their own: a change of the code does not install them again.
COPY pyproject.toml ./
RUN /opt/understudy/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["postgres"], *p["optional-dependencies"]["openvino"], sep="\n")' > requirements.txt

# pip reads its usual settings from a secret file: docker build --secret id=pip,src=$HOME/.config/pip/pip.conf .
FROM source AS build-cpu
# Address of an index of CPU builds of torch (PyTorch's installation page names one): 4 GB less than without.
ARG TORCH_INDEX=
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ -n "$TORCH_INDEX" ]; then \
        /opt/understudy/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.txt)"; \
    fi \
    && /opt/understudy/bin/pip install --no-cache-dir -r requirements.txt
COPY README.md ./
COPY client client
COPY models models
COPY server server
COPY signaling signaling
RUN /opt/understudy/bin/pip install --no-cache-dir --no-deps .

# What pip finds by itself on Linux is the CUDA build, its libraries included; the host brings the driver.
FROM source AS build-cuda
RUN --mount=type=secret,id=pip,target=/etc/pip.conf /opt/understudy/bin/pip install --no-cache-dir -r requirements.txt
COPY README.md ./
COPY client client
COPY models models
COPY server server
COPY signaling signaling
RUN /opt/understudy/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/understudy --create-home understudy
COPY deploy/healthcheck.py /usr/local/bin/healthcheck.py
ENV PATH=/opt/understudy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONFAULTHANDLER=1 \
    UNDERSTUDY_HOST=127.0.0.1 \
    UNDERSTUDY_DATA_DIR=/var/lib/understudy \
    NUMBA_CACHE_DIR=/var/lib/understudy/compiled
USER understudy
WORKDIR /var/lib/understudy
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "/usr/local/bin/healthcheck.py"]
CMD ["understudy", "serve"]

FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/understudy /opt/understudy
# What draws faces is compiled here, for processors like this one; a new volume begins with it. Others compile at first.
RUN python -m models.precompile
VOLUME /var/lib/understudy

FROM runtime AS cpu
COPY --from=build-cpu /opt/understudy /opt/understudy
RUN python -m models.precompile
VOLUME /var/lib/understudy
