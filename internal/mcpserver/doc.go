// Package mcpserver offers sessions to agents over the Model Context Protocol.
//
// A [Server] has the tools of the interfaces in [Tools] that are not nil. It
// is reached by its [Server.Handler], by the [Listener] that [Server.Listen]
// opens on a loopback port with a token of its own, or by [Server.Serve] over
// a pair of streams. All at once is fine, for any number of clients.
package mcpserver
