// Package newer has the messages that Modal's clients send and modal-go v0.7.0
// does not know. To generate it anew:
//
//	pip install grpcio-tools && go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go generate ./internal/modalserver/newer
package newer

//go:generate python3 -m grpc_tools.protoc -I . --go_out=. --go_opt=paths=source_relative newer.proto
