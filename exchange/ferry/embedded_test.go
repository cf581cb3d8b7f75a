package ferry

import "testing"

func TestEmbedded(t *testing.T) { conform(t, embedded) }
