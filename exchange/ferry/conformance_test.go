package ferry

import (
	"testing"
	"time"
)

// conform holds a kind of broker to what the ferry promises. Each test gets
// names of its own, so that one real cluster serves them all.
func conform(t *testing.T, start func(testing.TB) *cluster) {
	tests := []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"a question is answered", questionIsAnswered},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, start(t)) })
	}
}

func questionIsAnswered(t *testing.T, c *cluster) {
	k := c.open(t)
	c.topics(t, k)
	c.serve(t, k, echo, nil)
	a := c.asker(t, k, nil)
	var got Message
	for range 3 {
		began := time.Now()
		if err := a.Ask(t.Context(), c.question("E1", []byte("sealed"), 10*time.Second, &got)); err != nil {
			t.Fatal(err)
		}
		t.Log(time.Since(began))
	}
	if string(got.Body) != "sealed" {
		t.Errorf("answer %q", got.Body)
	}
	t.Logf("%+v", a.Counts())
}
