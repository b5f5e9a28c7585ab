# make          locked restore, format check, build (style and analyzers are errors there), all tests: what CI runs
# make test     installs what the tests need, runs them all, ends with one line of counts
# make quick    an answer in under 90 seconds: the build and the tests that need no PostgreSQL, browser, Node or crash
# make proof    the long forms of the crash, failover and stress tests, and all of end to end on .NET: an hour
# make native   compiles the program ahead of time, into artifacts/native: it starts in a tenth of the time
# make slowest  lists the slowest twenty tests of the last make test
# make dev      serves a temporary store on http://127.0.0.1:26333
# make bench    prints Coffer's speed as ratios of a bare Kestrel endpoint

.PHONY: all restore format build needs test quick proof native slowest dev bench

# What is left out of make quick: other servers, whole products of cases, and what waits for clocks or floods.
SLOW = Postgres. Secrets. Access. Migrations. Management. EraseTests StressTests BudgetTests FloodTests Connection \
  FrameReaderTests Rollback

# The compiler has work for one processor: what it does not need goes beside it.
all:
	@$(MAKE) --no-print-directory --output-sync --jobs=3 build format needs
	@$(MAKE) --no-print-directory test

restore:
	dotnet restore Coffer.slnx --locked-mode --verbosity quiet

format: restore
	dotnet format whitespace Coffer.slnx --no-restore --verify-no-changes

build: restore
	dotnet build Coffer.slnx -c Release --no-restore --nologo --verbosity quiet

needs:
	@bash test/install

test:
	@test/run

quick:
	@dotnet build test/Coffer.Tests -c Release --nologo --verbosity quiet -p:RunAnalyzers=false
	@dotnet test test/Coffer.Tests -c Release --no-build --nologo \
	  --filter "FullyQualifiedName~Coffer.Tests$(foreach part,$(SLOW),&FullyQualifiedName!~$(part))"

proof:
	@test/proof

native:
	dotnet restore src/Coffer --locked-mode --verbosity quiet -p:PublishAot=true
	dotnet publish src/Coffer -c Release --no-restore --nologo --verbosity quiet -p:PublishAot=true \
	  -p:RunAnalyzers=false -o artifacts/native

slowest:
	@test/slowest

dev:
	dotnet run --project src/Coffer -c Release -- dev

bench:
	bench/run
