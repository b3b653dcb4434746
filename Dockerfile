# An image with the daemon. docs/installing.md, "A container", says how to use it; compose.yml has an example.
#
#   docker build -t domoflux .
#   docker run --rm -p 5020:5020 domoflux multiplex -p modbus -t 192.168.1.22:502 -l 5020
FROM rust:1.90-bookworm AS build
WORKDIR /src
# .dockerignore leaves out what is not compiled.
COPY . .
RUN cargo build --release --locked --bin domoflux

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/domoflux --shell /usr/sbin/nologin domoflux \
    && install -d -o domoflux -g domoflux -m 0750 /var/lib/domoflux /etc/domoflux
COPY --from=build /src/target/release/domoflux /usr/local/bin/domoflux
# Under this name it takes the commands of the Go tool: `entrypoint: ["tcp-multiplexer"]`.
RUN ln -s domoflux /usr/local/bin/tcp-multiplexer

# The flows of /etc/domoflux/default.toml, if it is there, and what was pushed to the daemon, which is in the volume.
ENV CONFIGURATION_DIRECTORY=/etc/domoflux \
    DOMOFLUX_STATE_DIR=/var/lib/domoflux \
    MALLOC_ARENA_MAX=1
USER 10001:10001
WORKDIR /var/lib/domoflux
VOLUME ["/var/lib/domoflux"]
# What flows listen on is theirs to say; this is the multiplexer of the examples. The API is on loopback, and stays in the container.
EXPOSE 5020
# Whether all flows listen. Without a daemon (`multiplex`, `mirror`), compose.yml has another check.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD domoflux probe flow || exit 1
# SIGTERM drains: what is on its way is answered, within 10 s.
ENTRYPOINT ["domoflux"]
CMD ["daemon", "--supervise"]
