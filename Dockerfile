# The daemon in a container: not root, on a read-only root file system, its state in the volume.
#   docker build -t backfill-notifier .
# Another base, of a mirror or by its digest: --build-arg BASE=mirror.example.com/python:3.13-slim@sha256:…
# Another package index, which may need a password: --secret id=pip,src=pip.conf
ARG BASE=python:3.13.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/notifier
COPY requirements/build.txt requirements/run.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    tools/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && tools/bin/pip wheel --no-cache-dir --require-hashes --no-build-isolation --wheel-dir wheels \
        -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY notifier notifier
# rich wants three of them only for what the notifier never prints, highlighted source text and Markdown: a fifth of all.
RUN tools/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir wheels . \
    && rm wheels/pygments-* wheels/markdown_it_py-* wheels/mdurl-* \
    && tools/bin/pip --python /opt/notifier/bin/python install --no-cache-dir --no-index --no-deps --no-compile \
        wheels/*.whl
# What runs can write no bytecode. Bytecode that is never compared with the source outlives a change of times.
RUN /opt/notifier/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/notifier/lib

FROM ${BASE}
ARG BASE
LABEL org.opencontainers.image.title="backfill-notifier" \
      org.opencontainers.image.description="Tells Slack and webhooks what happens to your Allium Beam backfills" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
RUN groupadd --gid 10001 notifier \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /var/lib/notifier \
        --shell /usr/sbin/nologin notifier \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/notifier
COPY --from=build /opt/notifier /opt/notifier
ENV PATH="/opt/notifier/bin:$PATH" \
    NOTIFIER_STATE="sqlite:////var/lib/notifier/state.db" \
    PYTHONDONTWRITEBYTECODE="1"
# By number: what forbids root can only tell by that.
USER 10001:10001
VOLUME /var/lib/notifier
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=1m --retries=3 CMD ["notifier", "health"]
ENTRYPOINT ["notifier"]
CMD ["run"]
