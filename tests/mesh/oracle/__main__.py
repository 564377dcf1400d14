"""`python -m tests.mesh.oracle` offers all bundles and writes docs/what-istiod-accepts.md."""

from tests.mesh.oracle import document
from tests.mesh.oracle.cases import table
from tests.mesh.oracle.offer import offer

if __name__ == "__main__":
    document.write(offer(table()))
    print(document.PATH)
