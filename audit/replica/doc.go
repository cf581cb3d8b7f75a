// Package replica brings a log's frames to a second machine over HTTPS.
//
// The gateway's side is Client, which is an audit.Replica; the other is Server,
// in front of audit.ReplicaDirs. Serve it with mutual TLS: it is told nothing
// that a copy of the log would not tell, but who may write to it could fill its
// disk. What is written is checked there against the log's pinned key in any
// case.
//
//	POST /begin                                    body: log.json
//	POST /frames?origin=&segment=&offset=          body: frames as in the segment
//	POST /quarantine?origin=&name=                 body: the file
//
// The first two answer 200 with the number of entries that the replica then
// holds, in decimal. Others: 400 not of the written form, 403 signature, 404
// log not copied here, 409 does not continue the replica, 413 too large, 422
// not what the log can have made, 503 the replica's storage has failed.
package replica
