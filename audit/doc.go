// Package audit is the log that everything must be written to before anything
// may leave the gateway.
//
// An entry has an open half, which the resident concerned may see, and a
// closed half for the auditors; a salt keeps either from telling the other's
// secrets. Entries are the leaves of a Merkle tree in the shape of RFC 6962
// with SM3 in SHA-256's place:
//
//	leaf = SM3(0x00 ‖ open ‖ 0x0A ‖ SM3(salt ‖ closed))
//	node = SM3(0x01 ‖ left ‖ right)
//
// Writers are gathered into batches. A batch is one frame in the write-ahead
// log: its entries, the tree head over everything up to them and an SM2
// signature of that head, written with one pwrite and one fdatasync. An entry
// is durable if and only if it lies under a signed head, and only then does
// Append return. Everything else in the directory (tiles, checkpoints,
// heads/last) is derived from the frames outside of that path.
//
// The log fails closed. After the first error of its storage, or once its
// files are gone or unwritable, it takes nothing any more and says so on
// Failed; it never retries a sync. Recovery moves a torn tail to quarantine/
// and records that; any other damage is refused, named and left as it is.
//
// The bytes are specified, with test vectors, in docs/protocol/audit-log.md.
// The package runs on Linux and imports nothing else of this module.
package audit
