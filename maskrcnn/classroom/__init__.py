"""Assignments that grade themselves: what the notebooks in `notebooks/assignments/` check a student's functions with.

`assignment` is what their cells use. A function that is checked runs in a process of its own with limits (`sandbox`,
`worker`), and may not be the library's own (`own_work`). `grading` and `kernel_limits` are for the teacher's side: they
make nbgrader survive whatever a submission does.
"""

from maskrcnn.classroom.assignment import Assignment as Assignment
from maskrcnn.classroom.assignment import check as check
from maskrcnn.classroom.assignment import kind_of as kind_of
from maskrcnn.classroom.sandbox import Limits as Limits
from maskrcnn.classroom.sandbox import NotPassed as NotPassed
