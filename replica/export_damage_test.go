package replica

// LastRow is lastRow.
func LastRow(v View, p int, before []byte) ([]byte, error) { return lastRow(v, p, before) }
