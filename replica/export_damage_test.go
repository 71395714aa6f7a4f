package replica

// LastRow is lastRow.
func LastRow(v View, p int, before []byte) ([]byte, error) { return lastRow(v, p, before) }

// Fetch is what an owner replies to a [Fetch] of its rows between two addresses.
func (p *Partition) Fetch(v View, from, until []byte) (m Fetched, err error) {
	return m, m.read(v, piece{p.ID, from, until})
}

// Regrow is regrow; fit tells whether the rows may take the place of p's own.
func (p *Partition) Regrow(v View, from, until []byte, m *Fetched) (rows []AddressedRow, fit bool, err error) {
	rows, why, err := p.regrow(v, piece{p.ID, from, until}, m)
	return rows, why == fitting, err
}
