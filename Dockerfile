# The service's image: the program, the shared libraries that it names and the CA certificates; no shell, nothing to
# write to but one folder. It needs no BuildKit: docker, podman and buildah build it alike.

# By its digest, that of all platforms together, so that two builds start from the same. A newer one is a commit here;
# a mirror, or one's own, is `--build-arg RUST_IMAGE=…`: any Debian with Rust, a C compiler and CA certificates will do.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082
FROM ${RUST_IMAGE} AS build
WORKDIR /build

# Those of Cargo.toml that the program is to have: `--build-arg FEATURES=otel`.
ARG FEATURES=

# What puts the list of dependencies into the program, writes the SBOM, and compares the two. Without optimisation that
# takes a third of the time, and they have little to do. .ci/run takes the versions from here.
RUN cargo install --locked --debug cargo-auditable@0.7.7 cargo-cyclonedx@0.5.9 rust-audit-info@0.5.4

# The dependencies with an empty program, so that only a change of Cargo.lock compiles them anew.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && touch src/lib.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo auditable build --locked --release --features "$FEATURES" --bin oneclick-login

COPY build.rs ./
COPY config/default.toml config/
COPY migrations migrations/
COPY src src/
# The copied files keep their times, which are before those of the empty program.
RUN touch src/lib.rs src/main.rs \
 && cargo auditable build --locked --release --features "$FEATURES" --bin oneclick-login

# The image's file system. The packages' records say to a scanner which glibc this is.
COPY LICENSE ./
COPY deploy/sbom deploy/
RUN set -eu; \
    program=target/release/oneclick-login; documents=/image/usr/share/doc/oneclick-login; \
    install -D "$program" /image/usr/local/bin/oneclick-login; \
    ldd "$program" | grep --only-matching '/[^ ]*' | xargs cp --dereference --parents --target-directory=/image; \
    install -D --mode=0644 --target-directory="$documents" LICENSE; \
    deploy/sbom "$program" "$documents/sbom.cdx.json" --features "$FEATURES"; \
    mkdir -p /image/etc/ssl/certs /image/var/lib/dpkg/status.d; \
    cp --dereference /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/; \
    cp --dereference /etc/os-release /image/etc/; \
    for package in libc6 libgcc-s1 ca-certificates; do \
        dpkg-query --status "$package" > "/image/var/lib/dpkg/status.d/$package"; \
        cp --dereference --parents "/usr/share/doc/$package/copyright" /image; \
    done; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf; \
    echo 'oneclick-login:x:65532:65532::/var/lib/oneclick-login:/sbin/nologin' > /image/etc/passwd; \
    echo 'oneclick-login:x:65532:' > /image/etc/group; \
    install -d --mode=0750 /data/oneclick-login


FROM scratch
LABEL org.opencontainers.image.title="oneclick-login" \
      org.opencontainers.image.description="One-click login with the phone's own number" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /

# Only SQLite and a master key made by development are written, to ./data: a place for a volume, of this user.
# A number and not a name, so that Kubernetes can see that it is not root.
COPY --from=build --chown=65532:65532 /data /var/lib
WORKDIR /var/lib/oneclick-login
USER 65532:65532

# Production refuses to start until it has a verifier other than the sandbox, a database, an issuer and a master key;
# config/production.toml says how. A settings file is named by ONECLICK_CONFIG, so that the health check reads it too.
ENV ONECLICK_ENVIRONMENT=production \
    ONECLICK_SERVER__LISTEN=0.0.0.0:8080 \
    ONECLICK_SERVER__MANAGEMENT_LISTEN=0.0.0.0:9090 \
    PATH=/usr/local/bin

# The API; probes and metrics.
EXPOSE 8080 9090

# Whether the process lives, not whether it is ready: nobody gains from a restart while the database is away.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["oneclick-login", "healthcheck"]

# Ends in order on this, which takes up to 25 seconds: docker's own patience is 10 (docker stop --time 30).
STOPSIGNAL SIGTERM
ENTRYPOINT ["oneclick-login"]
CMD ["serve"]
