"""How nbgrader handles this course; it reads this file when it is started in this folder."""

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ComputeChecksums,
    DeduplicateIds,
    GetGrades,
    IgnorePattern,
    IncludeHeaderFooter,
    LimitOutput,
    LockCells,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
    SaveCells,
)

from maskrcnn.classroom.grading import (
    ClearSolutionsInCpp,
    ExecuteWithinLimits,
    HideTests,
    RestoreCells,
    SayWhatIsHidden,
)

c = get_config()  # noqa: F821 (nbgrader defines it)
c.CourseDirectory.course_id = "mask-rcnn"
c.CourseDirectory.solution_directory = "solutions"
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError"}

# nbgrader's own chains, with some links of ours.
c.GenerateAssignment.preprocessors = [
    IncludeHeaderFooter, LockCells, ClearSolutionsInCpp, ClearOutput, CheckCellMetadata, ComputeChecksums, SaveCells,
    ClearHiddenTests, SayWhatIsHidden, ClearMarkScheme, ComputeChecksums, CheckCellMetadata,
]  # fmt: skip
c.Autograde.sanitize_preprocessors = [
    ClearOutput, RestoreCells, DeduplicateIds, OverwriteKernelspec, OverwriteCells, CheckCellMetadata,
]  # fmt: skip
c.Autograde.autograde_preprocessors = [
    ExecuteWithinLimits, IgnorePattern, LimitOutput, SaveAutoGrades, AssignLatePenalties, CheckCellMetadata,
]  # fmt: skip
c.GenerateFeedback.preprocessors = [GetGrades, HideTests, CSSHTMLHeaderPreprocessor]
c.Execute.timeout = 60  # seconds for a cell outside of the tests, which have their own limits

# In archives that zip_collect opens, a notebook lies in a folder named after its student, or in the assignment's folder
# in there; Moodle adds to the name.
c.FileNameCollectorPlugin.named_regexp = (
    r".*/(?P<student_id>(?!a\d-|\.|__MACOSX)[^/]+?)(?:_\d+_assignsubmission_file_?)?(?:/a\d-[^/]+)?"
    r"/(?P<file_id>[^/.][^/]*\.ipynb)$"
)
