// Package modalclient is the only user of modal-go: a small, typed adapter
// that bounds every call by its context and hides what modal-go v0.7.0 cannot do.
//
// modal-go makes the connection (profile, token refresh, headers, idempotent
// retries) and the calls that it does well. Where it has no context, loses the
// reason of an end, or does not reach an RPC at all (build logs, signals,
// commands that must be killed), this package calls modal-go's generated stubs
// over that same connection, and the command router over one of its own.
//
// All types may be used from several goroutines at once, except that a stream
// of a Process has one reader or writer at a time.
package modalclient
