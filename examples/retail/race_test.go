//go:build race

package main

// The nodes are built like the test that starts them.
func init() { buildFlags = append(buildFlags, "-race") }
