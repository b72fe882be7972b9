# The image of uspan, and those of the shop that docker-compose.yml has it
# trace; each is of one static executable. The compiler runs on the builder's
# architecture, whatever the image's is; Docker before 23 does not name that one.
FROM --platform=${BUILDPLATFORM:-linux} golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY examples/shop/go.mod examples/shop/go.sum examples/shop/
RUN go mod download && cd examples/shop && go mod download
COPY . .
ARG TARGETARCH
ENV CGO_ENABLED=0 GOARCH=$TARGETARCH
RUN cd examples/shop && go build -trimpath -o /out/ ./front ./stock ./load
# There is no repository here that would say it.
ARG VERSION=devel
ARG REVISION=
RUN go build -trimpath -ldflags="-s -w -X main.release=$VERSION -X main.revision=$REVISION" -o /out/ ./cmd/uspan

FROM scratch AS front
COPY --from=build /out/front /front
ENTRYPOINT ["/front"]

FROM scratch AS stock
COPY --from=build /out/stock /stock
ENTRYPOINT ["/stock"]

FROM scratch AS load
COPY --from=build /out/load /load
ENTRYPOINT ["/load"]

# The certificates are for OTLP endpoints with TLS.
FROM scratch AS uspan
ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="uspan" \
      org.opencontainers.image.description="Turns functions of running Go programs into OpenTelemetry spans" \
      org.opencontainers.image.source="https://github.com/uspan/uspan" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/uspan /uspan
ENTRYPOINT ["/uspan"]
