; The uninstaller's half of installer.nsi. It removes what the application's manifest names and the folders that the
; program fills itself. What somebody else has put into the folder stays, and so do the user's runs, models and
; datasets, unless /DATA=delete or the tick on its page says otherwise.

!define DATA "$LOCALAPPDATA\slmstudio"
!define HASH_AND_SPACES 66 ; a line of the manifest: 64 digits, two spaces, the path

Var DeleteData ; 1: the user's data goes too
Var DataBox

!macro UninstallerPages
  UninstPage custom un.AskPage un.LeaveAskPage
  !insertmacro MUI_UNPAGE_INSTFILES
!macroend

Function un.onInit
  ${IfNot} ${FileExists} "$INSTDIR\${MARK}"
    MessageBox MB_ICONSTOP $(NotOurFolder) /SD IDOK
    SetErrorLevel ${STATUS_FOLDER}
    Quit
  ${EndIf}
  !insertmacro TakeLock
  ${If} $Lock = 0
    MessageBox MB_ICONEXCLAMATION $(Busy) /SD IDOK
    SetErrorLevel ${STATUS_BUSY}
    Quit
  ${EndIf}
  StrCpy $DeleteData 0
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/DATA=" $1
  ${IfNot} ${Errors}
  ${AndIf} $1 == "delete"
    StrCpy $DeleteData 1
  ${EndIf}
FunctionEnd

Function un.AskPage
  !insertmacro MUI_HEADER_TEXT $(RemoveTitle) $(RemoveSubtitle)
  nsDialogs::Create 1018
  Pop $0
  ${NSD_CreateLabel} 0 0 100% 24u $(RemovedFrom)
  Pop $0
  ${NSD_CreateCheckbox} 0 36u 100% 12u $(DeleteData)
  Pop $DataBox
  ${NSD_CreateLabel} 12u 50u 95% 12u "${DATA}"
  Pop $0
  ${NSD_CreateLabel} 0 72u 100% 36u $(KeptData)
  Pop $0
  GetDlgItem $0 $HWNDPARENT 1
  SendMessage $0 ${WM_SETTEXT} 0 "STR:$(Remove)"
  nsDialogs::Show
FunctionEnd

Function un.LeaveAskPage
  ${NSD_GetState} $DataBox $DeleteData
FunctionEnd

Section Uninstall
  SetOutPath "$TEMP"
  again:
  Call un.ProgramInUse
  Pop $0
  ${If} $0 <> 0
    MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION $(Running) /SD IDCANCEL IDRETRY again
    SetErrorLevel ${STATUS_RUNNING}
    Quit
  ${EndIf}
  ReadRegStr $0 HKCU "${ENTRY}" "InstallLocation"
  ${If} $0 == $INSTDIR
    Delete "$SMPROGRAMS\${PRODUCT}.lnk"
    Delete "$DESKTOP\${PRODUCT}.lnk"
  ${EndIf}
  Delete "$INSTDIR\SLMStudio.exe" ; first: half a program is not to be started
  DetailPrint $(Removing)
  SetDetailsPrint none ; a line for each file takes longer than the file
  !insertmacro Repair
  RMDir /r "$INSTDIR\app.old"
  RMDir /r "$INSTDIR\app.new"
  Call un.RemoveApplication
  Call un.RemoveLibraries
  !insertmacro DeleteNew
  Delete "$INSTDIR\uv.exe"
  Delete "$INSTDIR\uv-LICENSE.txt"
  Delete "$INSTDIR\launcher.log"
  Delete "$INSTDIR\manifest.sha256"
  ${If} $DeleteData = 1
    RMDir /r "${DATA}"
  ${EndIf}
  ReadRegStr $0 HKCU "${ENTRY}" "InstallLocation"
  ${If} $0 == $INSTDIR
    DeleteRegKey HKCU "${ENTRY}"
  ${EndIf}
  Delete "$INSTDIR\Uninstall.exe"
  ${IfNot} ${FileExists} "$INSTDIR\Uninstall.exe" ; it cannot delete itself where it is run in place, by _?=
    Delete "$INSTDIR\${MARK}"
  ${EndIf}
  RMDir "$INSTDIR"
  SetDetailsPrint both
  ${If} ${FileExists} "$INSTDIR\*.*"
    DetailPrint $(LeftThere)
  ${EndIf}
SectionEnd

; The folders that the set-up fills. Some scanners hold a file open for a while, and what is large is not left behind
; with the word that all was removed.
Function un.RemoveLibraries
  again:
  RMDir /r "$INSTDIR\environment"
  RMDir /r "$INSTDIR\python"
  RMDir /r "$INSTDIR\cache"
  ${If} ${FileExists} "$INSTDIR\environment\*.*"
  ${OrIf} ${FileExists} "$INSTDIR\python\*.*"
  ${OrIf} ${FileExists} "$INSTDIR\cache\*.*"
    MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION $(FilesHeldOpen) /SD IDCANCEL IDRETRY again
    SetErrorLevel ${STATUS_RUNNING}
    Quit
  ${EndIf}
FunctionEnd

; Delete what app\manifest.sha256 names, what Python has compiled of it, and the folders that are empty then.
Function un.RemoveApplication
  ClearErrors
  FileOpen $0 "$INSTDIR\app\manifest.sha256" r
  ${If} ${Errors}
    Return
  ${EndIf}
  StrCpy $2 "" ; the folder of the file before: its names come one after the other
  ${Do}
    ClearErrors
    FileRead $0 $1
    ${If} ${Errors}
      ${Break}
    ${EndIf}
    StrCpy $1 $1 "" ${HASH_AND_SPACES}
    ${WordReplace} $1 "$\n" "" "+" $1
    ${WordReplace} $1 "/" "\" "+" $1
    Delete "$INSTDIR\app\$1"
    ${GetParent} $1 $3
    ${If} $3 != $2
      Call un.RemoveIfEmpty
      StrCpy $2 $3
    ${EndIf}
  ${Loop}
  FileClose $0
  Call un.RemoveIfEmpty
  Delete "$INSTDIR\app\manifest.sha256"
  RMDir "$INSTDIR\app"
FunctionEnd

; Remove the application's folder $2 and those above it, as far as nothing but compiled files is in them.
Function un.RemoveIfEmpty
  ${DoUntil} $2 == ""
    RMDir /r "$INSTDIR\app\$2\__pycache__"
    RMDir "$INSTDIR\app\$2"
    ${GetParent} $2 $2
  ${Loop}
FunctionEnd
