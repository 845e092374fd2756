module github.com/hexdag/hexdag/host/bench/guests

go 1.26

require github.com/hexdag/hexdag/guests/sdk/go v0.0.0

replace github.com/hexdag/hexdag/guests/sdk/go => ../../../guests/sdk/go
