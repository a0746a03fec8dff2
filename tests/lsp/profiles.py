"""What well-known editors declare in `initialize`, as far as a server like ours looks at it.

Never declares more than the editor does: the fake editor does only what is declared here.
"""

from __future__ import annotations

from typing import Any

_KINDS = ["", "quickfix", "refactor", "refactor.extract", "refactor.inline", "refactor.rewrite", "source"]
_LITERALS = {"codeActionKind": {"valueSet": _KINDS}}
_RESOLVE = {"properties": ["edit", "command"]}
_OPERATIONS = ["create", "rename", "delete"]

PROFILES: dict[str, dict[str, Any]] = {
    "vscode": {
        "general": {"positionEncodings": ["utf-16"], "markdown": {"parser": "marked"}},
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceFolders": True,
            "workspaceEdit": {
                "documentChanges": True,
                "resourceOperations": _OPERATIONS,
                "failureHandling": "textOnlyTransactional",
                "normalizesLineEndings": True,
                "changeAnnotationSupport": {"groupsOnLabel": True},
                "metadataSupport": True,
                "snippetEditSupport": True,
            },
            "didChangeConfiguration": {"dynamicRegistration": True},
            "didChangeWatchedFiles": {"dynamicRegistration": True, "relativePatternSupport": True},
            "executeCommand": {"dynamicRegistration": True},
            "codeLens": {"refreshSupport": True},
            "diagnostics": {"refreshSupport": True},
            "textDocumentContent": {"dynamicRegistration": True},
            "fileOperations": {"dynamicRegistration": True, "willRename": True, "didRename": True},
        },
        "textDocument": {
            "synchronization": {"dynamicRegistration": True, "willSave": True, "didSave": True},
            "codeAction": {
                "dynamicRegistration": True,
                "codeActionLiteralSupport": _LITERALS,
                "isPreferredSupport": True,
                "disabledSupport": True,
                "dataSupport": True,
                "honorsChangeAnnotations": True,
                "documentationSupport": True,
                "resolveSupport": {"properties": ["edit"]},
                "tagSupport": {"valueSet": [1]},
            },
            "codeLens": {"dynamicRegistration": True},
            "publishDiagnostics": {
                "relatedInformation": True,
                "versionSupport": False,
                "codeDescriptionSupport": True,
                "dataSupport": True,
                "tagSupport": {"valueSet": [1, 2]},
            },
        },
        "window": {
            "workDoneProgress": True,
            "showMessage": {"messageActionItem": {"additionalPropertiesSupport": True}},
            "showDocument": {"support": True},
        },
    },
    "neovim": {
        "general": {"positionEncodings": ["utf-8", "utf-16", "utf-32"]},
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceFolders": True,
            "workspaceEdit": {"resourceOperations": _OPERATIONS},
            "didChangeConfiguration": {"dynamicRegistration": False},
            "didChangeWatchedFiles": {"dynamicRegistration": False, "relativePatternSupport": True},
        },
        "textDocument": {
            "synchronization": {"dynamicRegistration": False, "willSave": True, "didSave": True},
            "codeAction": {
                "dynamicRegistration": True,
                "codeActionLiteralSupport": _LITERALS,
                "isPreferredSupport": True,
                "dataSupport": True,
                "resolveSupport": _RESOLVE,
            },
            "codeLens": {"dynamicRegistration": False},
            "publishDiagnostics": {"relatedInformation": True, "dataSupport": True, "tagSupport": {"valueSet": [1, 2]}},
        },
        "window": {
            "workDoneProgress": True,
            "showMessage": {"messageActionItem": {"additionalPropertiesSupport": True}},
            "showDocument": {"support": True},
        },
    },
    "helix": {
        "general": {"positionEncodings": ["utf-8", "utf-32", "utf-16"]},
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceFolders": True,
            "workspaceEdit": {
                "documentChanges": True,
                "resourceOperations": _OPERATIONS,
                "failureHandling": "abort",
                "normalizesLineEndings": False,
            },
            "didChangeConfiguration": {"dynamicRegistration": False},
            "didChangeWatchedFiles": {"dynamicRegistration": True, "relativePatternSupport": False},
            "executeCommand": {"dynamicRegistration": False},
        },
        "textDocument": {
            "codeAction": {
                "codeActionLiteralSupport": _LITERALS,
                "isPreferredSupport": True,
                "disabledSupport": True,
                "dataSupport": True,
                "resolveSupport": _RESOLVE,
            },
            "publishDiagnostics": {"versionSupport": True, "tagSupport": {"valueSet": [1, 2]}},
        },
        "window": {"workDoneProgress": True, "showDocument": {"support": True}},
    },
    "kate": {
        "workspace": {
            "applyEdit": True,
            "workspaceFolders": True,
            "configuration": True,
            "workspaceEdit": {"documentChanges": True},
        },
        "textDocument": {
            "codeAction": {"codeActionLiteralSupport": _LITERALS},
            "publishDiagnostics": {"relatedInformation": True},
        },
        "window": {"workDoneProgress": True},
    },
    "emacs": {
        "general": {"positionEncodings": ["utf-32", "utf-8", "utf-16"]},
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceFolders": True,
            "workspaceEdit": {"documentChanges": True, "resourceOperations": _OPERATIONS},
            "didChangeWatchedFiles": {"dynamicRegistration": True},
            "executeCommand": {"dynamicRegistration": False},
        },
        "textDocument": {
            "codeAction": {
                "dynamicRegistration": False,
                "codeActionLiteralSupport": _LITERALS,
                "isPreferredSupport": True,
                "disabledSupport": True,
                "dataSupport": True,
                "resolveSupport": _RESOLVE,
            },
            "publishDiagnostics": {"relatedInformation": False, "tagSupport": {"valueSet": [1, 2]}},
        },
        "window": {"workDoneProgress": True, "showDocument": {"support": True}},
    },
    "minimal": {
        "workspace": {"applyEdit": True},
        "textDocument": {"codeAction": {"codeActionLiteralSupport": _LITERALS}},
    },
    "nothing": {},
}
"""Capabilities by editor; `minimal` is one that can just apply an edit, `nothing` one that cannot."""

OPTED_IN: dict[str, Any] = {"protocol": 1, "events": True, "permission": True, "question": True, "coalesceMs": 5}
"""What a client with a plug-in of ours says."""
