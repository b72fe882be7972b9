# Two images, each of one static executable: uspan, and the program that
# docker-compose.yml has it trace.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ENV CGO_ENABLED=0
RUN go build -trimpath -ldflags="-s -w" -o /out/ ./cmd/uspan
RUN go build -trimpath -o /out/ ./examples/fibonacci

FROM scratch AS fibonacci
COPY --from=build /out/fibonacci /fibonacci
ENTRYPOINT ["/fibonacci"]

# The certificates are for OTLP endpoints with TLS.
FROM scratch AS uspan
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/uspan /uspan
ENTRYPOINT ["/uspan"]
