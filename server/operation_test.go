package server

import (
	"strings"
	"testing"
)

func FuzzOperationIdsHaveOneSpelling(f *testing.F) {
	client := "000102030405060708090a0b0c0d0e0f"
	for _, seed := range []string{
		client + "-1-1700000000000", client + "-18446744073709551615-9223372036854775807", client + "-0-0",
		client + "-01-1", client + "--1", client, "", "-", "--", strings.ToUpper(client) + "-1-1",
		strings.Repeat("0", 32) + "-0-0", strings.Repeat("9", 1024),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		op, p := parseOperation(text)
		if p == nil && (op.String() != text || op.IsZero() || op.Issued < 0) {
			t.Errorf("%q reads as %v", text, op)
		}
		if p != nil && len(p.text) > 1024 {
			t.Errorf("a message of %d bytes", len(p.text))
		}
	})
}

func TestAHostileOperationIdAllocatesNothingToSpeakOf(t *testing.T) {
	for _, text := range []string{strings.Repeat("f", 1024), strings.Repeat("-", 1024), strings.Repeat("f", 32) + "-" + strings.Repeat("9", 991)} {
		if n := testing.AllocsPerRun(100, func() { _, _ = parseOperation(text) }); n > 20 {
			t.Errorf("%d bytes took %v allocations", len(text), n)
		}
	}
}
