module example.org/linkd

go 1.19

require (
	example.org/gauge v1.0.0
	example.org/slug v0.3.0
)
