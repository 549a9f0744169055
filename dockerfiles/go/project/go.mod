module example.org/linkd

go 1.19

require example.org/slug v0.3.0
