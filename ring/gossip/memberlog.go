package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// memberLogger turns memberlist's lines into records. Its warnings are what
// happens whenever a network does, so each sinks by one level.
func memberLogger(to *slog.Logger) *log.Logger { return log.New(memberLog{to}, "", 0) }

type memberLog struct{ to *slog.Logger }

func (l memberLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	text := bytes.TrimSpace(line)
	for _, known := range []struct {
		tag   string
		level slog.Level
	}{{"[DEBUG] ", slog.LevelDebug}, {"[INFO] ", slog.LevelDebug}, {"[WARN] ", slog.LevelInfo}, {"[ERR] ", slog.LevelWarn}} {
		if rest, found := bytes.CutPrefix(text, []byte(known.tag)); found {
			level, text = known.level, rest
			break
		}
	}
	l.to.Log(context.Background(), level, string(bytes.TrimPrefix(text, []byte("memberlist: "))))
	return len(line), nil
}
