; What the installer, the uninstaller and the launcher share: the folder's names, the lock, and how half states end.
;
; The program's files lie in $INSTDIR\app. An upgrade unpacks beside it and swaps by renames, so that one whole version
; is there at every moment:
;   app.part   being unpacked; worth nothing
;   app.new    unpacked whole, not yet in its place
;   app.old    the version before, until the new one is in its place

!define PRODUCT "SLM Studio"
!define MARK "slmstudio-folder.txt" ; says that a folder is ours; the first file written and the last removed
!define ENTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\SLMStudio"
!define LOCK "SLMStudioSetup"
!define FIRST_FILE "packaging\bootstrap.py" ; an application folder has it

!define STATUS_FOLDER 3
!define STATUS_BUSY 4
!define STATUS_RUNNING 5
!define ERROR_ALREADY_EXISTS 183
!define ERROR_FILE_NOT_FOUND 2
!define ERROR_PATH_NOT_FOUND 3
!define MOVE_REPLACES 9 ; MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH

!include LogicLib.nsh
!include FileFunc.nsh
!include WordFunc.nsh
!include WinMessages.nsh

Var Lock

; One at a time changes the folder: installer, uninstaller, or a launcher that repairs. The system frees the lock when
; its holder ends, however that ends. $Lock is 0 when another holds it.
!macro TakeLock
  Push $0
  System::Call 'kernel32::CreateMutexW(p 0, i 1, w "${LOCK}") p .s ?e'
  Pop $0
  Pop $Lock
  ${If} $0 = ${ERROR_ALREADY_EXISTS}
    System::Call 'kernel32::CloseHandle(p $Lock)'
    StrCpy $Lock 0
  ${EndIf}
  Pop $0
!macroend

!macro FreeLock
  System::Call 'kernel32::CloseHandle(p $Lock)'
  StrCpy $Lock 0
!macroend

; Bring back the old version when an upgrade was cut off between its two renames, and drop what was left beside it.
!macro Repair
  ${IfNot} ${FileExists} "$INSTDIR\app\*.*"
    ${If} ${FileExists} "$INSTDIR\app.old\${FIRST_FILE}"
      Rename "$INSTDIR\app.old" "$INSTDIR\app"
    ${ElseIf} ${FileExists} "$INSTDIR\app.new\${FIRST_FILE}"
      Rename "$INSTDIR\app.new" "$INSTDIR\app"
    ${EndIf}
  ${EndIf}
  ${If} ${FileExists} "$INSTDIR\app\*.*"
    RMDir /r "$INSTDIR\app.old"
    RMDir /r "$INSTDIR\app.new"
  ${EndIf}
  RMDir /r "$INSTDIR\app.part"
!macroend

; Push 1 when PATH is a file that runs or is held open by a program, else 0. Windows refuses to open those for writing.
!macro FileInUse PATH
  System::Call 'kernel32::CreateFileW(w "${PATH}", i 0x40000000, i 7, p 0, i 3, i 0x80, p 0) p .s ?e'
  Exch $0
  Exch
  Exch $1 ; $0 = the error, $1 = the handle
  ${If} $1 P<> -1
    System::Call 'kernel32::CloseHandle(p r1)'
    StrCpy $0 0
  ${ElseIf} $0 = ${ERROR_FILE_NOT_FOUND}
  ${OrIf} $0 = ${ERROR_PATH_NOT_FOUND}
    StrCpy $0 0
  ${Else}
    StrCpy $0 1
  ${EndIf}
  Pop $1
  Exch $0
!macroend

; UN is "" or "un.": NSIS keeps the functions of an uninstaller apart.
!macro DefineProgramInUse UN
  ; Push 1 when a program of this folder runs: the window, a training run, the set-up.
  Function ${UN}ProgramInUse
    Push $R0
    Push $R1
    Push $R2
    Push $R3
    StrCpy $R2 0
    !insertmacro AddInUse "$INSTDIR\environment\Scripts\pythonw.exe"
    !insertmacro AddInUse "$INSTDIR\environment\Scripts\python.exe"
    !insertmacro AddInUse "$INSTDIR\uv.exe"
    !insertmacro AddInUse "$INSTDIR\SLMStudio.exe"
    FindFirst $R0 $R1 "$INSTDIR\python\cpython-*"
    ${DoWhile} $R1 != ""
      !insertmacro AddInUse "$INSTDIR\python\$R1\pythonw.exe"
      !insertmacro AddInUse "$INSTDIR\python\$R1\python.exe"
      FindNext $R0 $R1
    ${Loop}
    FindClose $R0
    StrCpy $R0 $R2
    Pop $R3
    Pop $R2
    Pop $R1
    Exch $R0
  FunctionEnd
!macroend

!macro AddInUse PATH
  !insertmacro FileInUse "${PATH}"
  Pop $R3
  IntOp $R2 $R2 | $R3
!macroend

; Put $INSTDIR\NAME.new in the place of NAME, in one step.
!macro Replace NAME
  System::Call 'kernel32::MoveFileExW(w "$INSTDIR\${NAME}.new", w "$INSTDIR\${NAME}", i ${MOVE_REPLACES}) i .r0'
  ${If} $0 = 0
    StrCpy $R9 "${NAME}"
    MessageBox MB_ICONSTOP $(NotReplaced) /SD IDOK
    SetErrorLevel 2
    Abort
  ${EndIf}
!macroend

!macro DeleteNew
  Delete "$INSTDIR\uv.exe.new"
  Delete "$INSTDIR\uv-LICENSE.txt.new"
  Delete "$INSTDIR\SLMStudio.exe.new"
  Delete "$INSTDIR\manifest.sha256.new"
  Delete "$INSTDIR\Uninstall.exe.new"
!macroend
