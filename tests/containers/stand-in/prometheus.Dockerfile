# A stand-in for the official Prometheus image where no registry can be reached: Debian's Prometheus. For tests/containers/run.sh only.
ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends prometheus wget && \
    install -d -o 65534 -g 65534 /prometheus
VOLUME /prometheus
EXPOSE 9090
ENTRYPOINT ["/usr/bin/prometheus"]
