package rpc

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// endpoint is a base URL with the token for what lies below it.
type endpoint struct {
	url   string
	token string
	http  *http.Client
}

func newEndpoint(base, token string, client *http.Client) endpoint {
	if client == nil {
		client = http.DefaultClient
	}
	return endpoint{url: strings.TrimRight(base, "/"), token: token, http: client}
}

func (e endpoint) send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, e.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+e.token)
	return e.http.Do(request)
}

// exchange sends a request and reads an answer that is one JSON value.
func (e endpoint) exchange(ctx context.Context, method, path string, into any) error {
	response, err := e.send(ctx, method, path, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return refusal(response.StatusCode, data)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// failure is the server's error as it travels.
type failure struct {
	Type      string   `json:"type"`
	Message   string   `json:"message"`
	Bases     []string `json:"bases"`
	Traceback string   `json:"traceback"`
}

func (f failure) callError(function string, status int) *CallError {
	return &CallError{
		Function: function, Type: f.Type, Message: f.Message, Bases: f.Bases, Traceback: f.Traceback, Status: status,
	}
}

// answeredFailure reads the error of an answer. What sits between us and the
// server may answer too, in words of its own.
func answeredFailure(status int, data []byte) failure {
	var answer struct {
		Error failure `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || answer.Error.Type == "" {
		return failure{Type: "HTTPError", Message: fmt.Sprintf("HTTP status %d: %.200q", status, data)}
	}
	return answer.Error
}

func refusal(status int, data []byte) error {
	failed := answeredFailure(status, data)
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case failed.Type == "UnknownService":
		return ErrNotServed
	}
	return fmt.Errorf("%s: %s", failed.Type, failed.Message)
}

// identify asks whoever answers to prove that it knows the token, without
// sending the token. name is "" for the server itself.
func (e endpoint) identify(ctx context.Context, name string) error {
	nonce := rand.Text()
	var answer struct {
		Proof string `json:"proof"`
	}
	anonymous := endpoint{url: e.url, http: e.http}
	if err := anonymous.exchange(ctx, http.MethodGet, "/healthz?nonce="+url.QueryEscape(nonce), &answer); err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(e.token))
	fmt.Fprintf(mac, "seer-rpc health %s %s", name, nonce)
	given, err := hex.DecodeString(answer.Proof)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return errors.New("what answers there does not know the token")
	}
	return nil
}
