package server

import "time"

var began = time.Now()
