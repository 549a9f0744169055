// Package gauge counts what goes on.
package gauge

import (
	"fmt"
	"io"
	"sync/atomic"
)

// Gauge is a number that several goroutines change. Its zero value is 0.
type Gauge struct{ value atomic.Int64 }

// Add changes the number and returns what it became.
func (g *Gauge) Add(delta int64) int64 { return g.value.Add(delta) }

// WriteTo prints the number under a name.
func (g *Gauge) WriteTo(out io.Writer, name string) error {
	_, err := fmt.Fprintf(out, "%s %d\n", name, g.value.Load())
	return err
}
