package ferry

import (
	"flag"
	"os"
	"testing"
)

// These tests wait for rebalances and timers far more than they compute, so
// more of them run at once than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
