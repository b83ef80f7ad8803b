# The collector: one binary; its database under /var/lib/driftline.
#   docker build -f deploy/container/collector.Dockerfile -t driftline .
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p driftline-collector

FROM debian:bookworm-slim
# The certificates of the usual authorities, for PagerDuty, S3 and mail.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/driftline /usr/local/bin/driftline
USER 65532:65532
VOLUME /var/lib/driftline
EXPOSE 4600
ENTRYPOINT ["/usr/local/bin/driftline"]
CMD ["serve", "--config", "/etc/driftline/driftline.yaml"]
