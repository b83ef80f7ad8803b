# The sidecar: one binary, no shell.
#   docker build -f deploy/container/sidecar.Dockerfile -t driftline-sidecar .
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p driftline-sidecar

FROM debian:bookworm-slim
COPY --from=build /source/target/release/driftline-sidecar /usr/local/bin/driftline-sidecar
# Two arenas are enough for two threads, and keep the memory that glibc holds back small.
ENV MALLOC_ARENA_MAX=2
USER 65532:65532
EXPOSE 8080 4601
ENTRYPOINT ["/usr/local/bin/driftline-sidecar"]
