# The gateway as a container: built with the Rust toolchain, run on a bare Debian.
#
# io_uring: the default seccomp profile of Docker refuses it, and the gateway then falls back to epoll and says
# so in its log and in /readyz. For full speed run it with a profile that allows io_uring_setup, io_uring_enter
# and io_uring_register (`--security-opt seccomp=PROFILE.json`); REQUIRE_IO_URING=true refuses to start without.
#
#   docker build -t realchat-gateway .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -e JWT_SECRET=… realchat-gateway

FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
# The manifest names the test target; its file must exist, not its contents.
RUN mkdir tests && touch tests/it.rs && cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin gateway
COPY --from=build /build/target/release/realchat-gateway /usr/local/bin/realchat-gateway
USER gateway
EXPOSE 8080
# No HEALTHCHECK: an orchestrator asks GET /readyz on the public port, and the image carries no client.
# SIGTERM drains; give it at least SHUTDOWN_TIMEOUT (15s) before the kill: `docker stop --time 20`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["realchat-gateway"]
CMD ["run"]
