// Package auditor is what an auditor does with an audit log's files and the
// keys and checkpoints that they keep apart from it: docs/AUDIT.md. It reads
// only, and links nothing that could open a connection.
package auditor
