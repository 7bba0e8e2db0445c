# The service's image. It needs no BuildKit: docker, podman and buildah build it alike.

FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies with an empty program, so that only a change of Cargo.lock compiles them anew.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && touch src/lib.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --locked --release --bin oneclick-login

COPY build.rs ./
COPY config/default.toml config/
COPY migrations migrations/
COPY src src/
# The copied files keep their times, which are before those of the empty program.
RUN touch src/lib.rs src/main.rs \
 && cargo build --locked --release --bin oneclick-login


FROM docker.io/library/debian:bookworm-slim
LABEL org.opencontainers.image.title="oneclick-login" \
      org.opencontainers.image.description="One-click login with the phone's own number" \
      org.opencontainers.image.licenses="Apache-2.0"

# Calls to Alibaba Cloud are checked against these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /usr/share/doc/oneclick-login/
COPY --from=build /build/target/release/oneclick-login /usr/local/bin/

# Only SQLite and a master key made by development are written, to ./data: a place for a volume, of this user.
# A number and not a name, so that Kubernetes can see that it is not root.
RUN install -d -m 0750 -o 65532 -g 65532 /var/lib/oneclick-login
WORKDIR /var/lib/oneclick-login
USER 65532:65532

# Production refuses to start until it has a verifier other than the sandbox, a database, an issuer and a master key;
# config/production.toml says how. A settings file is named by ONECLICK_CONFIG, so that the health check reads it too.
ENV ONECLICK_ENVIRONMENT=production \
    ONECLICK_SERVER__LISTEN=0.0.0.0:8080 \
    ONECLICK_SERVER__MANAGEMENT_LISTEN=0.0.0.0:9090

# The API; the probes.
EXPOSE 8080 9090

# Whether the process lives, not whether it is ready: nobody gains from a restart while the database is away.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["oneclick-login", "healthcheck"]

# Ends in order on this, which takes up to 25 seconds: docker's own patience is 10 (docker stop --time 30).
STOPSIGNAL SIGTERM
ENTRYPOINT ["oneclick-login"]
CMD ["serve"]
