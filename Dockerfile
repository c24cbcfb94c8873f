# The gateway as a container: one binary, the few libraries that it is linked with, an unprivileged user.
#
#   docker build -t realchat-gateway .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges --security-opt seccomp=deploy/seccomp.json \
#     --ulimit nofile=262144:262144 --stop-timeout 20 -p 8080:8080 -e JWT_SECRET=… -e REDIS_ADDR=… realchat-gateway
#
# docs/deployment.md says what each of these is for.

FROM rust:1-slim-bookworm AS build
WORKDIR /build

# The dependencies are a layer of their own: it is built anew when the manifest or the lock changes, not when the
# source does. An empty program stands in for ours and is thrown away afterwards, so that cargo cannot take it for
# the real one because of a time stamp. The manifest names the test target; its file must exist, not its contents.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src tests \
 && echo 'fn main() {}' > src/main.rs && touch src/lib.rs tests/it.rs \
 && cargo build --release --locked \
 && cargo clean --release --locked --package realchat-gateway \
 && rm -r src

# What `build_info` says of this build: docker build --build-arg GATEWAY_COMMIT=$(git rev-parse HEAD) …
ARG GATEWAY_COMMIT=
COPY src src
RUN GATEWAY_COMMIT=$GATEWAY_COMMIT cargo build --release --locked

# What the final stage holds: the binary, exactly the libraries that the loader finds for it, the authorities that
# vouch for https:// upstreams, and three small files.
# Names are looked up in /etc/hosts first, as everywhere; without nsswitch.conf the C library would ask DNS first.
RUN mkdir -p /image/etc/ssl/certs /image/usr/local/bin \
 && cp --dereference /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && cp target/release/realchat-gateway /image/usr/local/bin/ \
 && ldd target/release/realchat-gateway | grep -o '/[^ ]*' | xargs cp --parents --dereference --target-directory /image \
 && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
 && echo 'gateway:x:65532:65532::/:/sbin/nologin' > /image/etc/passwd \
 && echo 'gateway:x:65532:' > /image/etc/group

# Nothing else: no shell, no package manager.
FROM scratch
COPY --from=build /image /
# By number: Kubernetes can tell from it that this is not root.
USER 65532:65532
EXPOSE 8080 9901
# The gateway drains on SIGTERM. Give it SHUTDOWN_DELAY + SHUTDOWN_TIMEOUT and some seconds before the kill.
STOPSIGNAL SIGTERM
# The binary asks itself; it gives up after 3 s. It has the container's environment, so it knows where to ask.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["/usr/local/bin/realchat-gateway", "health"]
ENTRYPOINT ["/usr/local/bin/realchat-gateway"]
CMD ["run"]
